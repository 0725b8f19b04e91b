# @summary Installs, configures and runs Entrepot, an API gateway between an Odoo ERP and the partners who trade with it.
#
# The catalog (upstreams, endpoints, partners, plans) is given here or by the defined types of the same names. It is
# checked as a whole, with all that depends on each other, before it replaces anything: with a wrong value the run fails
# and says where, and the gateway goes on with the catalog that it has. `--noop` checks nothing of that.
#
# @example A gateway in front of one Odoo
#   class { 'entrepot':
#     settings  => { 'gateway' => { 'public_url' => 'https://api.example.com', 'trusted' => '127.0.0.1' } },
#     secrets   => Sensitive({ 'erp' => lookup('erp_password') }),
#     upstreams => {
#       'erp' => {
#         'kind'     => 'odoo',
#         'url'      => 'http://erp.example.com:8069',
#         'database' => 'prod',
#         'login'    => 'gateway',
#         'secret'   => 'credential:erp',
#       },
#     },
#   }
#
# @param package_ensure
#   Which version of the package there is: `installed` leaves upgrades to whoever does them, `latest` upgrades with the
#   next run, a version keeps to it, downwards too. No upgrade refuses a request. Remove the package by hand: `absent`
#   is not taken, because the rest of the class needs it.
# @param repository
#   The apt repository that the package comes from. Without it, the host's own sources must have the package.
# @param settings
#   The whole of `/etc/entrepot/entrepot.ini`. What was written there by hand is gone after the run. A change is checked
#   before it replaces the file, and taken into force by a reload, which fails no request. Only another `bind` of
#   gateway or console has its socket opened anew, which refuses connections for a moment; where it cannot listen, it
#   goes back to where it did, and the run fails.
# @param purge_settings
#   Whether files in `/etc/entrepot/conf.d` are removed. They win over `settings`, so with `false` somebody may set on
#   the host what Puppet does not put right.
# @param secrets
#   Files below `/etc/entrepot/credentials`, by name: `credential:NAME` refers to one. Root, the daemons and commands can
#   read them, and no report shows them. A change restarts the daemons, and no request fails: callers wait, some
#   seconds on a busy host. One that is left out later stays on the host until somebody removes it. `master-key` is the
#   key that all secrets of the store depend on; with another one than it was made with no token is issued and no secret
#   checked, and `entrepot-check` is critical.
# @param upstreams
#   The systems behind the gateway, by name; the keys are the parameters of `entrepot::upstream`.
# @param endpoints
#   The public paths, by name; the keys are the parameters of `entrepot::endpoint`.
# @param partners
#   Who may call, by name; the keys are the parameters of `entrepot::partner`.
# @param plans
#   Rates and quotas that many clients have, by name; the keys are the parameters of `entrepot::plan`.
# @param service_ensure
#   Whether the daemons run. `stopped` closes their sockets too: partners are refused. What was accepted stays on disk.
#   The timers go with them: no backup is made either.
# @param service_enable
#   Whether they start with the host.
class entrepot (
  Pattern[/\A(installed|present|latest|[0-9][A-Za-z0-9.+:~-]*)\z/] $package_ensure,
  Optional[Entrepot::Repository]                                   $repository,
  Entrepot::Settings                                               $settings,
  Boolean                                                          $purge_settings,
  Sensitive[Hash[Entrepot::Name, String[1]]]                       $secrets,
  Hash[Entrepot::Name, Hash[String[1], Any]]                       $upstreams,
  Hash[Entrepot::Name, Hash[String[1], Any]]                       $endpoints,
  Hash[Entrepot::Name, Hash[String[1], Any]]                       $partners,
  Hash[Entrepot::Name, Hash[String[1], Any]]                       $plans,
  Stdlib::Ensure::Service                                          $service_ensure,
  Boolean                                                          $service_enable,
) {
  $directory = '/etc/entrepot'
  $group = 'entrepot'

  contain entrepot::install
  contain entrepot::config
  contain entrepot::credentials
  contain entrepot::sockets
  contain entrepot::service
  # Not contained: a wrong catalog fails the run, and keeps nobody from what requires a running gateway. An upstream
  # that requires this class makes no circle either.
  include entrepot::catalog

  # Settings may name a secret.
  Class['entrepot::install']
  -> Class['entrepot::credentials']
  -> Class['entrepot::config']
  -> Class['entrepot::sockets']
  -> Class['entrepot::service']
  Class['entrepot::config'] -> Class['entrepot::catalog']

  $upstreams.each |$upstream, $keys| { entrepot::upstream { $upstream: * => $keys } }
  $endpoints.each |$endpoint, $keys| { entrepot::endpoint { $endpoint: * => $keys } }
  $partners.each |$partner, $keys| { entrepot::partner { $partner: * => $keys } }
  $plans.each |$plan, $keys| { entrepot::plan { $plan: * => $keys } }
}
