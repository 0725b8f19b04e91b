"""The handlers of the admin API, one module for each kind of thing; ``entrepot.console.table`` lists them all."""
