# @summary The gateway of the company: what is special to this site, and everything else from Hiera.
class profile::gateway {
  include entrepot

  # Partners come by many teams, so each has a file of its own in Hiera, below a key of this site.
  lookup('profile::gateway::partners', Hash, 'deep', {}).each |$partner, $keys| {
    entrepot::partner { $partner: * => $keys }
  }
}
