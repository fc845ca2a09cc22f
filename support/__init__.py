"""What holds the scripts up. A reader of the article may skip all of it: start with train.py."""

from support import standard_streams

standard_streams.prepare()
