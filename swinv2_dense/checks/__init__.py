"""What is wrong with a config, a data set or a checkpoint, found before anything is built."""
