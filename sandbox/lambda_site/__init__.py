"""What runs inside a Lambda process of the sandbox, by path, without the rest of the package."""
