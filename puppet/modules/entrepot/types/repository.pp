# @summary The apt repository that the package comes from, and the key that signs it, as armoured text.
#
# Without `suite`, it is the host's own and the one with the release before, as `make publish` makes them.
type Entrepot::Repository = Struct[{
    url             => Pattern[/\A(https?:\/\/|file:\/)[^\s]+\z/],
    key             => Pattern[/\A-----BEGIN PGP PUBLIC KEY BLOCK-----\n/],
    Optional[suite] => Pattern[/\A[a-z0-9.-]+( [a-z0-9.-]+)*\z/],
}]
