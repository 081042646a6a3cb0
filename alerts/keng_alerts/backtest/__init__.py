"""A recorded series through the engine in service, held against what really was."""
