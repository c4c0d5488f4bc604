"""Published experiments on dropout, run again with the code that trains and serves: uci and mnist."""
