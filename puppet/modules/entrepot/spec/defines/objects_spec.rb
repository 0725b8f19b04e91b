# frozen_string_literal: true

require 'json'

# What is written for an object, as `entrepot check` reads it.
def written(catalogue, name)
  JSON.parse(catalogue.resource('file', "/etc/entrepot/catalog.staged/#{name}.yaml")[:content].lines.drop(1).join)
end

describe 'entrepot::upstream' do
  let(:title) { 'erp' }
  let(:pre_condition) { "class { 'entrepot': }" }
  let(:odoo) do
    {
      kind: 'odoo', url: 'http://erp.example.com:8069', database: 'prod', login: 'gateway',
      secret: 'credential:erp'
    }
  end
  let(:params) { odoo }

  it { is_expected.to compile.with_all_deps }

  it 'writes what is given and nothing else' do
    expect(written(catalogue, 'upstreams-erp')).to eq('upstreams' => { 'erp' => odoo.transform_keys(&:to_s) })
  end

  it 'is checked before it replaces anything' do
    is_expected.to contain_file('/etc/entrepot/catalog.staged/upstreams-erp.yaml')
      .with(owner: 'root', group: 'entrepot', mode: '0640')
      .that_comes_before('Exec[entrepot: check the catalog]')
  end

  context 'when somebody requires the class' do
    let(:pre_condition) { "class { 'entrepot': }\nEntrepot::Upstream { require => Class['entrepot'] }" }

    it { is_expected.to compile.with_all_deps }
  end

  context 'with a text that YAML 1.1 and 1.2 take for different things' do
    let(:params) { odoo.merge(login: '0o17', database: '1e3') }

    it { expect(written(catalogue, 'upstreams-erp')['upstreams']['erp']).to include('login' => '0o17', 'database' => '1e3') }
  end

  [
    { secret: 'hunter2' }, { auth: { 'bearer' => 'hunter2' } },
    { auth: { 'basic' => { 'user' => 'gateway', 'password' => 'hunter2' } } },
    { auth: { 'header' => { 'name' => 'X-Api-Key', 'value' => 'hunter2' } } }
  ].each do |literal|
    context "with a literal secret in #{literal}" do
      let(:params) { odoo.merge(literal) }

      it { is_expected.to compile.and_raise_error(/entrepot::upstream\[erp\]: a secret must be file:/) }
      it { is_expected.not_to compile.and_raise_error(/hunter2/) }
    end
  end

  { kind: 'soap', url: 'ftp://erp', timeout: '20', concurrency: 0, verify: 'no', breaker: { 'opens' => '1s' } }.each do |name, value|
    context "with #{name} => #{value}" do
      let(:params) { odoo.merge(name => value) }

      it { is_expected.to compile.and_raise_error(/parameter '#{name}'/) }
    end
  end
end

describe 'entrepot::endpoint' do
  let(:title) { 'orders' }
  let(:pre_condition) { "class { 'entrepot': }" }
  let(:params) do
    {
      path: '/v1/orders', upstream: 'erp', model: 'sale.order', fields: { 'number' => 'name' },
      where: [['partner_id', '=', '{partner.contact}'], '|', ['a', '=', 1], ['b', 'in', [1, 2]]],
      scopes: { 'read' => 'orders.read' }, cache: { 'fresh' => '30s' }
    }
  end

  it { is_expected.to compile.with_all_deps }

  it 'writes what is given and nothing else' do
    expect(written(catalogue, 'endpoints-orders')['endpoints']['orders']).to eq(
      'path' => '/v1/orders', 'upstream' => 'erp', 'model' => 'sale.order', 'fields' => { 'number' => 'name' },
      'where' => [['partner_id', '=', '{partner.contact}'], '|', ['a', '=', 1], ['b', 'in', [1, 2]]],
      'scopes' => { 'read' => 'orders.read' }, 'cache' => { 'fresh' => '30s' }
    )
  end

  { path: 'v1/orders', write: 'later', patience: 2, order: 'field:', where: ['state'], scopes: 'read' }.each do |name, value|
    context "with #{name} => #{value}" do
      let(:params) { super().merge(name => value) }

      it { is_expected.to compile.and_raise_error(/parameter '#{name}'/) }
    end
  end
end

describe 'entrepot::partner' do
  let(:title) { 'azure' }
  let(:pre_condition) { "class { 'entrepot': }" }
  let(:params) do
    { company: 'Azure Interior', values: { 'contact' => 14 }, clients: { 'shop' => { 'scopes' => ['orders.read'] } } }
  end

  it { is_expected.to compile.with_all_deps }

  it 'writes the company as the name' do
    expect(written(catalogue, 'partners-azure')).to eq(
      'partners' => {
        'azure' => {
          'name' => 'Azure Interior', 'values' => { 'contact' => 14 },
          'clients' => { 'shop' => { 'scopes' => ['orders.read'] } }
        }
      }
    )
  end

  context 'with a client that has no scopes' do
    let(:params) { super().merge(clients: { 'shop' => { 'api_keys' => true } }) }

    it { is_expected.to compile.and_raise_error(/parameter 'clients'.*expects a value for key 'scopes'/) }
  end
end

describe 'entrepot::plan' do
  let(:title) { 'small' }
  let(:pre_condition) { "class { 'entrepot': }" }
  let(:params) { { rate: { 'per_second' => 2.5, 'burst' => 10 }, quota: { 'day' => 1000 } } }

  it { is_expected.to compile.with_all_deps }
  it { expect(written(catalogue, 'plans-small')).to eq('plans' => { 'small' => params.to_h { |k, v| [k.to_s, v] } }) }
end
