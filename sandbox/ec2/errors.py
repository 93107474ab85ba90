"""The one exception with which an emulated EC2 operation answers an error."""


class Ec2Error(Exception):
    """An error response of EC2: its code, its message and its HTTP status.

    Codes and messages are those of the EC2 API Reference, "Error codes for the Amazon EC2 API";
    where that page gives no wording, the wording is the one that the API is seen to use.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Make the error `code` with a `message` for people and an HTTP `status`."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
