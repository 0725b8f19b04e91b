# @summary An HTTP method, in capitals.
type Entrepot::Method = Pattern[/\A[A-Z]+\z/]
