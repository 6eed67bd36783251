"""Problems and the verifiers that grade their answers.

`catalog` finds a problem set or verifier by name. Problem sets come from files (`table_files`, `problem_files`, `data`), from
reasoning-gym (`gym`) and from plugins (`plugins`); verifiers are `short_answers`, `math`, `code` and `gym`. Other files of a
user are conversations for SFT (`conversation_files`) and preferences (`preference_files`).
"""
