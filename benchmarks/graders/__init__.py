"""Laws for graders, held against gold answers that are generated and answers made from them."""
