"""The command line, one file a subcommand. Nothing heavy is imported until a subcommand runs."""
