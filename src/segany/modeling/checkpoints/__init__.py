"""Reading, recognising, converting, saving and fetching weights; `load.load_model` is the front door."""
