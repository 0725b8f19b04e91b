# frozen_string_literal: true

require 'rspec-puppet'

# Debian's modules (package puppet-module-puppetlabs-stdlib) and this one: nothing is fetched.
MODULES = [File.expand_path('../..', __dir__), '/usr/share/puppet/modules'].freeze

RSpec.configure do |config|
  # A link of the module into itself would run every spec twice.
  config.setup_fixtures = false
  config.module_path = MODULES.join(':')
  config.strict_variables = true
  config.default_facts = {
    kernel: 'Linux',
    path: '/usr/sbin:/usr/bin:/sbin:/bin',
    os: {
      'family' => 'Debian',
      'name' => 'Debian',
      'release' => { 'major' => '12', 'full' => '12.0' },
      'distro' => { 'codename' => 'bookworm' }
    }
  }
end
