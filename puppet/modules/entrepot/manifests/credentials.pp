# @summary Secrets, which systemd hands to the daemons when they start.
# @api private
class entrepot::credentials {
  assert_private()

  file { "${entrepot::directory}/credentials":
    ensure => directory,
    owner  => 'root',
    group  => $entrepot::group,
    mode   => '0750',
  }

  $entrepot::secrets.unwrap.each |$secret, $value| {
    file { "${entrepot::directory}/credentials/${secret}":
      ensure    => file,
      owner     => 'root',
      # For commands such as `entrepot apply`, which go on as this user.
      group     => $entrepot::group,
      mode      => '0640',
      content   => Sensitive("${value}\n"),
      show_diff => false,
      backup    => false,
    }
  }
}
