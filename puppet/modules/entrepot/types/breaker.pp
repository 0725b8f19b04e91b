# @summary After how many failures in a row an upstream is left alone, and for how long.
type Entrepot::Breaker = Struct[{
    Optional[failures] => Integer[1],
    Optional[open]     => Entrepot::Duration,
}]
