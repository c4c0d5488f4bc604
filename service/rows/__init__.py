"""Readers of data, one per format, for training and serving: files and images become arrays.

`formats` finds the format and unpacks gzip; `csv_table`, `json_lines` and `parquet_table` return a file's columns;
`fitting` turns columns into arrays that fit a model.
"""
