"""Makes the bucket named by the argument on the server that the environment names."""

import sys

import boto3

boto3.client("s3").create_bucket(Bucket=sys.argv[1])
