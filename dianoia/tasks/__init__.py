"""Problems and the verifiers that grade their answers."""
