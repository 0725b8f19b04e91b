# @summary How long an answer is served without asking, and how much longer when the upstream fails.
type Entrepot::Cache = Struct[{
    fresh                    => Entrepot::Duration,
    Optional[stale_if_error] => Entrepot::Duration,
}]
