"""Chat template and tokenizer: what a language model's engine reads."""
