"""The `segany` command. Every module here is light; what a command needs is imported when it runs."""
