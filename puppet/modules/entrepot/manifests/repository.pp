# @summary The apt source of the package, and the one key that may sign it.
# @api private
class entrepot::repository {
  assert_private()

  $repository = $entrepot::repository
  $codename = $facts['os']['distro']['codename']
  $key = '/etc/apt/keyrings/entrepot.asc'
  $source = '/etc/apt/sources.list.d/entrepot.sources'

  file {
    default:
      ensure => file,
      owner  => 'root',
      group  => 'root',
      mode   => '0644',
      ;
    '/etc/apt/keyrings':
      ensure => directory,
      mode   => '0755',
      ;
    $key:
      content => $repository['key'],
      ;
    $source:
      content => epp('entrepot/entrepot.sources.epp', {
          'url'   => $repository['url'],
          'suite' => pick($repository['suite'], "${codename} ${codename}-before"),
          'key'   => $key,
      }),
      ;
  }
  # Only this list, and an error when it cannot be had: by default apt-get says nothing of a mirror that is away.
  ~> exec { 'entrepot: read the package list':
    command     => "/usr/bin/apt-get -qq -o Dir::Etc::SourceList=${source} -o Dir::Etc::SourceParts=- \
-o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any update",
    refreshonly => true,
  }
}
