# @summary Where a secret is: `file:/PATH`, `env:NAME` or `credential:NAME`. Never the secret itself.
type Entrepot::Reference = Pattern[/\Afile:\/.+\z/, /\Aenv:[A-Za-z_][A-Za-z0-9_]*\z/, /\Acredential:[A-Za-z0-9_.@-]+\z/]
