# @summary A system behind the gateway.
#
# @example An Odoo
#   entrepot::upstream { 'erp':
#     kind     => 'odoo',
#     url      => 'http://erp.example.com:8069',
#     database => 'prod',
#     login    => 'gateway',
#     secret   => 'credential:erp',
#   }
#
# @param kind
#   What it speaks: `odoo` (Odoo's own calls) or `http`.
# @param url
#   Its base URL.
# @param timeout
#   How long a whole answer may take. Longer keeps partners waiting; shorter breaks off what Odoo goes on doing.
# @param connect_timeout
#   How long a connection may take.
# @param concurrency
#   Calls in flight on this host altogether. More than Odoo has workers only wait there.
# @param waiting
#   How many calls may wait for a place; further ones are answered 503 at once, or 202 where writes may queue.
# @param wait
#   How long each may wait.
# @param breaker
#   After how many failures in a row it is left alone, and for how long: `{ failures => 5, open => '10s' }`.
# @param ca
#   A file with the private CA that its certificate comes from, instead of those of the system.
# @param verify
#   `false` leaves its certificate unchecked: whoever is in between reads and changes everything.
# @param probe
#   How it is asked whether it is well: `{ path => '/health', every => '10s' }`. Without it, nobody knows before a partner.
# @param settle
#   How long it may still be at work on a call that timed out. Too short, and a write may be applied twice.
# @param database
#   Odoo's database.
# @param login
#   The gateway's own account at Odoo. What it may not do, no partner can.
# @param secret
#   Where the account's password or API key is; the password itself fails the run.
# @param protocol
#   How Odoo is spoken to.
# @param context
#   Sent with every call to Odoo, over the default.
# @param auth
#   The gateway's own account at an HTTP upstream; one of `bearer`, `basic` (user, password) and `header` (name, value),
#   with the secret as a reference.
# @param headers
#   Fields that are added to every request to an HTTP upstream. Secrets belong into `auth`.
define entrepot::upstream (
  Enum['odoo', 'http']              $kind,
  Stdlib::HTTPUrl                   $url,
  Optional[Entrepot::Duration]      $timeout         = undef,
  Optional[Entrepot::Duration]      $connect_timeout = undef,
  Optional[Integer[1]]              $concurrency     = undef,
  Optional[Integer[0]]              $waiting         = undef,
  Optional[Entrepot::Duration]      $wait            = undef,
  Optional[Entrepot::Breaker]       $breaker         = undef,
  Optional[Stdlib::Absolutepath]    $ca              = undef,
  Optional[Boolean]                 $verify          = undef,
  Optional[Entrepot::Probe]         $probe           = undef,
  Optional[Entrepot::Duration]      $settle          = undef,
  Optional[String[1]]               $database        = undef,
  Optional[String[1]]               $login           = undef,
  Optional[String[1]]               $secret          = undef,
  Optional[Enum['auto', 'jsonrpc']] $protocol        = undef,
  Optional[Hash[String[1], Data]]   $context         = undef,
  Optional[Entrepot::Auth]          $auth            = undef,
  Optional[Hash[String[1], String]] $headers         = undef,
) {
  # Not by the types above, because Puppet's own message would show what does not fit: the secret.
  $references = [$secret, $auth.dig('bearer'), $auth.dig('basic', 'password'), $auth.dig('header', 'value')]
  unless $references.filter |$each| { $each =~ NotUndef } =~ Array[Entrepot::Reference] {
    fail("entrepot::upstream[${name}]: a secret must be file:/PATH, env:NAME or credential:NAME, and not the secret itself")
  }

  entrepot::object { "upstream ${name}":
    section => 'upstreams',
    object  => $name,
    keys    => {
      'kind'            => $kind,
      'url'             => $url,
      'timeout'         => $timeout,
      'connect_timeout' => $connect_timeout,
      'concurrency'     => $concurrency,
      'waiting'         => $waiting,
      'wait'            => $wait,
      'breaker'         => $breaker,
      'ca'              => $ca,
      'verify'          => $verify,
      'probe'           => $probe,
      'settle'          => $settle,
      'database'        => $database,
      'login'           => $login,
      'secret'          => $secret,
      'protocol'        => $protocol,
      'context'         => $context,
      'auth'            => $auth,
      'headers'         => $headers,
    },
  }
}
