# @summary Bytes: a whole number, or one with a unit: `64KiB`, `1MiB`, `2GiB`.
type Entrepot::Size = Variant[Integer[0], Pattern[/\A[0-9]+(B|KiB|MiB|GiB)?\z/]]
