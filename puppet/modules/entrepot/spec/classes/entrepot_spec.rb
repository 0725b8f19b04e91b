# frozen_string_literal: true

describe 'entrepot' do
  let(:settings_file) { '/etc/entrepot/entrepot.ini' }

  context 'with nothing said' do
    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_class('entrepot::install').that_comes_before('Class[entrepot::config]') }
    it { is_expected.to contain_class('entrepot::config').that_comes_before('Class[entrepot::service]') }
    it { is_expected.to contain_class('entrepot::config').that_comes_before('Class[entrepot::catalog]') }
    it { is_expected.to contain_package('entrepot').with_ensure('installed') }
    it { is_expected.not_to contain_class('entrepot::repository') }
    it 'checks the settings, where no conf.d is beside them, before it replaces or removes anything' do
      is_expected.to contain_file(settings_file).with(
        owner: 'root', group: 'entrepot', mode: '0640', show_diff: false, backup: false,
        staging_location: '/etc/entrepot/settings.staged',
        validate_cmd: '/usr/bin/entrepot check --settings % --settings-only'
      ).that_comes_before('File[/etc/entrepot/conf.d]')
      is_expected.to contain_file('/etc/entrepot/conf.d').with(recurse: true, purge: true)
    end

    %w[gateway portal console courier].each do |daemon|
      it "runs the #{daemon}, which waits for the sockets, and restarts it for no event that a failure would lose" do
        is_expected.to contain_service("entrepot-#{daemon}.service").with(ensure: 'running', enable: true)
          .that_requires('Service[entrepot-gateway.socket]')
        is_expected.not_to contain_service("entrepot-#{daemon}.service").that_subscribes_to('Class[entrepot::config]')
      end
    end

    it 'reloads what can refuse the settings before it restarts the courier' do
      is_expected.to contain_exec('entrepot: bring the settings into force').with(
        command: /try-reload-or-restart( entrepot-(?!courier)[a-z]+\.service){3} && .*try-restart entrepot-courier\.service && mv /m,
        unless: /entrepot\.ini .*conf\.d .*in-force\z/
      ).that_requires(%w[gateway portal console courier].map { |daemon| "Service[entrepot-#{daemon}.service]" })
    end

    %w[gateway portal console].each do |daemon|
      it "never restarts the socket of the #{daemon}" do
        is_expected.to contain_service("entrepot-#{daemon}.socket").with(ensure: 'running', enable: true)
        is_expected.not_to contain_service("entrepot-#{daemon}.socket").that_subscribes_to('Class[entrepot::config]')
      end
    end

    %w[backup keys retention].each do |work|
      it "has the timer of #{work} run" do
        is_expected.to contain_service("entrepot-#{work}.timer").with(ensure: 'running', enable: true)
      end
    end

    it 'keeps what others wrote of the catalog before it is replaced' do
      is_expected.to contain_exec('entrepot: keep what others wrote of the catalog')
        .that_requires('Exec[entrepot: check the catalog]')
        .that_comes_before('Exec[entrepot: put the catalog in place]')
    end

    it 'leaves a catalog alone that it knows nothing of' do
      is_expected.to contain_exec('entrepot: apply the catalog').with_onlyif('ls /etc/entrepot/catalog.staged/*.yaml')
    end
  end

  context 'with settings' do
    let(:params) do
      {
        settings: {
          'gateway' => { 'workers' => 4, 'access_log' => false, 'trusted' => ['127.0.0.1', '::1'] },
          'store' => { 'url' => sensitive('postgresql+psycopg://entrepot:hunter2@db/entrepot') }
        },
        purge_settings: false
      }
    end

    it 'writes all of them' do
      is_expected.to contain_file(settings_file).with_content(
        sensitive(<<~INI)
          ; Managed by Puppet: what is changed here is put back by the next run.

          [gateway]
          workers = 4
          access_log = false
          trusted = 127.0.0.1 ::1

          [store]
          url = postgresql+psycopg://entrepot:hunter2@db/entrepot
        INI
      )
    end

    it 'checks them together with the files of conf.d, which stay' do
      is_expected.to contain_file(settings_file).with_staging_location('/etc/entrepot')
      is_expected.to contain_file('/etc/entrepot/conf.d').with(recurse: false, purge: false)
    end
  end

  {
    'a key that there is not' => { settings: { 'gateway' => { 'worker' => 4 } } },
    'a section that there is not' => { settings: { 'gatway' => {} } },
    'a duration without a unit' => { settings: { 'gateway' => { 'body_timeout' => 60 } } },
    'a version that is none' => { package_ensure: 'absent' },
    'a secret that is not Sensitive' => { secrets: { 'erp' => 'hunter2' } },
    'a name that leaves the directory' => { secrets: { '../erp' => 'hunter2' } }
  }.each do |what, wrong|
    context "with #{what}" do
      let(:params) { wrong }

      it { is_expected.to compile.and_raise_error(/parameter '#{wrong.keys.first}'|#{wrong.keys.first}/) }
      it { is_expected.not_to compile.and_raise_error(/hunter2/) }
    end
  end

  context 'with a secret' do
    let(:params) { { secrets: sensitive({ 'erp' => 'hunter2' }) } }

    it 'writes a file that root and the daemons alone can read' do
      is_expected.to contain_file('/etc/entrepot/credentials').with(mode: '0750', group: 'entrepot')
      is_expected.to contain_file('/etc/entrepot/credentials/erp').with(
        owner: 'root', group: 'entrepot', mode: '0640', show_diff: false, backup: false,
        content: sensitive("hunter2\n")
      )
    end
  end

  it 'restarts the daemons for another secret, and not their sockets' do
    is_expected.to contain_exec('entrepot: hand out the secrets').with(
      command: /try-restart( entrepot-[a-z]+\.service){4}$/,
      onlyif: /\A(\{ [^}]*is-active -q entrepot-[a-z]+\.service && [^}]*; \}( \|\| )?){4}\z/
    ).that_requires(['Class[entrepot::credentials]', 'Exec[entrepot: bring the settings into force]'])
  end

  context 'with addresses to listen on' do
    let(:params) { { settings: { 'gateway' => { 'bind' => '127.0.0.1:8080 unix:/run/entrepot.sock' } } } }

    it 'lets the socket listen there and nowhere else, once the settings are right' do
      is_expected.to contain_file('/etc/systemd/system/entrepot-gateway.socket.d/puppet.staged').with_content(
        /^\[Socket\]\nListenStream=\nListenStream=127\.0\.0\.1:8080\nListenStream=\/run\/entrepot\.sock\n\z/
      ).that_comes_before('Exec[entrepot: let the socket of the gateway listen]')
      is_expected.to contain_class('entrepot::sockets').that_requires('Class[entrepot::config]')
    end

    it 'goes on with what was cut off, and knows what was there before' do
      is_expected.to contain_exec('entrepot: let the socket of the gateway listen').with(
        command: /test -e puppet\.before \|\| cp -p puppet\.conf puppet\.before;/,
        unless: %r{\Atest ! -e \S+/puppet\.before && diff }
      )
    end

    it 'leaves the other socket as the package has it' do
      is_expected.to contain_file('/etc/systemd/system/entrepot-console.socket.d/puppet.staged').with_content('')
    end
  end

  context 'with a repository' do
    let(:params) do
      { repository: { 'url' => 'https://apt.example.com/entrepot', 'key' => "-----BEGIN PGP PUBLIC KEY BLOCK-----\n…\n" } }
    end

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_class('entrepot::repository').that_comes_before('Package[entrepot]') }

    it 'trusts this key for this source alone' do
      is_expected.to contain_file('/etc/apt/sources.list.d/entrepot.sources').with_content(
        %r{^URIs: https://apt.example.com/entrepot\nSuites: bookworm bookworm-before\nComponents: main\nSigned-By: /etc/apt/keyrings/entrepot.asc$}
      )
      is_expected.to contain_file('/etc/apt/keyrings/entrepot.asc')
        .that_notifies('Exec[entrepot: read the package list]')
    end
  end

  context 'with a catalog' do
    let(:params) do
      {
        upstreams: { 'rates' => { 'kind' => 'http', 'url' => 'http://127.0.0.1:9' } },
        endpoints: {
          'rates' => { 'path' => '/v1/rates', 'upstream' => 'rates', 'relay' => '/rates', 'methods' => ['GET'] }
        },
        partners: { 'azure' => { 'company' => 'Azure Interior' } },
        plans: { 'small' => { 'quota' => { 'day' => 1000 } } }
      }
    end

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_entrepot__upstream('rates') }
    it { is_expected.to contain_entrepot__endpoint('rates') }
    it { is_expected.to contain_entrepot__partner('azure') }
    it { is_expected.to contain_entrepot__plan('small') }
  end

  context 'when it is to be stopped' do
    let(:params) { { service_ensure: 'stopped', service_enable: false } }

    it { is_expected.to contain_service('entrepot-gateway.socket').with(ensure: 'stopped', enable: false) }
    it { is_expected.to contain_service('entrepot-courier.service').with(ensure: 'stopped', enable: false) }
    it { is_expected.to contain_service('entrepot-backup.timer').with(ensure: 'stopped', enable: false) }
  end
end
