# @summary How an upstream is asked whether it is well: by GET of a path, and how often.
type Entrepot::Probe = Struct[{
    Optional[path]  => Entrepot::Path,
    Optional[every] => Entrepot::Duration,
}]
