"""Measurements of the deployed application in the sandbox."""
