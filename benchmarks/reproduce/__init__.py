"""Published experiments on dropout, reproduced with the code that trains and serves: uci, mnist and labels."""
