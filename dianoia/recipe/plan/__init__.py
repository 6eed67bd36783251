"""What a recipe will do: work, memory, time and disk per stage, in one table. No torch."""
