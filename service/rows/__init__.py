"""Every way in for data: files and pictures become arrays that fit a model."""
