# @summary The name of an upstream, endpoint, partner, client, plan or secret.
type Entrepot::Name = Pattern[/\A[A-Za-z0-9][A-Za-z0-9._-]{0,79}\z/]
