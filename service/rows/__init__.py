"""Every way in for data, one reader a format, for training and for serving alike: files and pictures become arrays.

formats → the format of a file, and what a compressed one holds; csv_table, json_lines and parquet_table → columns as
the file has them; fitting → arrays that fit a model.
"""
