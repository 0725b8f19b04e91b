# @summary The catalog: written aside, checked as a whole, put in place, and brought into force.
#
# A host where Puppet knows no object is left alone: its catalog belongs to somebody else. Where it knows some, files that
# it has not written are moved out of the way, and kept.
# @api private
class entrepot::catalog {
  assert_private()

  $staged = "${entrepot::directory}/catalog.staged"
  $placed = "${entrepot::directory}/catalog"
  # Those without the first line of entrepot::object.
  $foreign = "find ${placed} ! -type d ! -exec grep -q '^# Managed by Puppet:' {} \\;"

  # An object that Puppet knows no more is gone from here, and so from the catalog.
  file { $staged:
    ensure  => directory,
    owner   => 'root',
    group   => $entrepot::group,
    mode    => '0750',
    recurse => true,
    purge   => true,
    force   => true,
  }

  exec {
    default:
      provider => shell,
      path     => ['/usr/bin', '/bin'],
      onlyif   => "ls ${staged}/*.yaml",
      ;
    # Not on refresh alone: after a run that failed nothing changes here any more, and the mistake is there still.
    'entrepot: check the catalog':
      command => "entrepot check ${staged}/*.yaml",
      unless  => "diff -r ${staged} ${placed}",
      require => File[$staged],
      ;
    'entrepot: keep what others wrote of the catalog':
      command => "install -d -m 750 ${placed}.before && ${foreign} -print -exec mv --backup=numbered -t ${placed}.before {} +",
      onlyif  => ["ls ${staged}/*.yaml", "${foreign} -print | grep -q ."],
      require => Exec['entrepot: check the catalog'],
      ;
    'entrepot: put the catalog in place':
      command => "rm -rf ${placed}.new && cp -a ${staged} ${placed}.new && rm -rf ${placed} && mv ${placed}.new ${placed}",
      unless  => "diff -r ${staged} ${placed}",
      require => Exec['entrepot: keep what others wrote of the catalog'],
      ;
    # What came from files and is in none of them is removed; what operators made by commands or in the console stays.
    'entrepot: apply the catalog':
      command => "entrepot apply --prune ${placed}/*.yaml",
      unless  => "test \"$(entrepot diff --prune ${placed}/*.yaml)\" = 'no difference'",
      require => Exec['entrepot: put the catalog in place'],
      ;
  }
}
