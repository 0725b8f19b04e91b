# @summary When a failed delivery is tried again: waits grow from `first` by `factor` up to `ceiling`, until `age`.
type Entrepot::Retry = Struct[{
    Optional[first]   => Entrepot::Duration,
    Optional[factor]  => Numeric,
    Optional[ceiling] => Entrepot::Duration,
    Optional[age]     => Entrepot::Duration,
}]
