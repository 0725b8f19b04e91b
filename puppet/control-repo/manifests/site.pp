node default {
  include profile::gateway
}
