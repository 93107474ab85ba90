"""Stillpoint: EC2 backups that are at rest when they are taken.

The modules of this package are pure: they decide, and know neither boto3 nor the environment.
Everything that talks to AWS is in `stillpoint.aws`.
"""
