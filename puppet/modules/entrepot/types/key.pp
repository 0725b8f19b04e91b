# @summary The KEY of `{partner.KEY}`.
type Entrepot::Key = Pattern[/\A[A-Za-z_][A-Za-z0-9_]{0,79}\z/]
