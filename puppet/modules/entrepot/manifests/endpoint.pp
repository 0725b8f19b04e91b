# @summary A public path, and what it does: a model of Odoo, one call of a method, or a relay.
#
# @example Orders that are accepted while Odoo is down
#   entrepot::endpoint { 'orders':
#     path       => '/v1/orders',
#     upstream   => 'erp',
#     model      => 'sale.order',
#     where      => [['partner_id', '=', '{partner.contact}']],
#     set        => { 'partner_id' => '{partner.contact}' },
#     fields     => {
#       'reference' => { 'from' => 'client_order_ref', 'required' => true },
#       'number'    => { 'from' => 'name', 'read_only' => true },
#     },
#     key        => 'reference',
#     operations => ['list', 'read', 'create'],
#     write      => 'auto',
#     scopes     => { 'read' => 'orders.read', 'write' => 'orders.write' },
#   }
#
# @param path
#   The public path; a version is its first segment. A change breaks every program that calls it: keep the old one among
#   the aliases.
# @param upstream
#   The upstream that answers.
# @param aliases
#   Further paths of the same.
# @param scopes
#   What a token must have. Without it, the endpoint is open to no one.
# @param write
#   `direct` waits for the upstream; `queue` answers 202 once the write is on disk; `auto` queues only while the upstream
#   is away or slow.
# @param patience
#   How long `auto` waits before it answers 202.
# @param order
#   What a queued write waits for: `record`, `partner`, `endpoint`, `field:NAME` or `none`. The wider, the more one
#   failure holds back.
# @param idempotency
#   `required` refuses a write without `Idempotency-Key`.
# @param retry
#   When a failed delivery is tried again, and after which `age` it is given up.
# @param rate
#   The limit of all callers together.
# @param cache
#   How long answers are kept, and how much longer they stand in for an upstream that fails.
# @param max_body
#   The largest body; a larger one is 413.
# @param context
#   Added to the upstream's, for Odoo.
# @param summary
#   What it is, for the API documents.
# @param description
#   More of it.
# @param model
#   A model of Odoo, as a resource.
# @param fields
#   Its public fields: nothing else of a record is seen or written.
# @param operations
#   What may be done: of `list`, `read`, `create`, `update`, `delete`.
# @param where
#   Which records there are, on every operation. Without it, each caller reaches all records of the model.
# @param set
#   Values that are forced on create and update.
# @param key
#   The field that `{id}` is a value of.
# @param search
#   The fields of `?search=`.
# @param sort
#   The fields of `?sort=`.
# @param page
#   How long pages are: `{ default => 25, max => 100 }`.
# @param call
#   A method of a model, such as `sale.order.action_confirm`.
# @param method
#   The HTTP method of a call.
# @param arguments
#   What the method is given.
# @param result
#   What of its result is answered.
# @param guard
#   A domain that is true of the record once the call has been applied. Without it, a queued call may be made twice.
# @param relay
#   A path of an HTTP upstream.
# @param methods
#   The HTTP methods of a relay.
# @param headers
#   Fields that are added to a request or taken away: `{ add => {…}, drop => […] }`.
# @param body
#   The JSON Schema of the body, `{ schema => … }`: itself, or the absolute path of a file on the host.
define entrepot::endpoint (
  Entrepot::Path                             $path,
  Entrepot::Name                             $upstream,
  Optional[Array[Entrepot::Path]]            $aliases     = undef,
  Optional[Entrepot::Scopes]                 $scopes      = undef,
  Optional[Enum['direct', 'queue', 'auto']]  $write       = undef,
  Optional[Entrepot::Duration]               $patience    = undef,
  Optional[Entrepot::Order]                  $order       = undef,
  Optional[Enum['optional', 'required']]     $idempotency = undef,
  Optional[Entrepot::Retry]                  $retry       = undef,
  Optional[Entrepot::Rate]                   $rate        = undef,
  Optional[Entrepot::Cache]                  $cache       = undef,
  Optional[Entrepot::Size]                   $max_body    = undef,
  Optional[Hash[String[1], Data]]            $context     = undef,
  Optional[String[1]]                        $summary     = undef,
  Optional[String[1]]                        $description = undef,
  Optional[Entrepot::Model]                  $model       = undef,
  Optional[Hash[String[1], Entrepot::Field]] $fields      = undef,
  Optional[Array[Entrepot::Operation]]       $operations  = undef,
  Optional[Entrepot::Domain]                 $where       = undef,
  Optional[Hash[String[1], Data]]            $set         = undef,
  Optional[String[1]]                        $key         = undef,
  Optional[Array[String[1]]]                 $search      = undef,
  Optional[Array[String[1]]]                 $sort        = undef,
  Optional[Entrepot::Page]                   $page        = undef,
  Optional[String[1]]                        $call        = undef,
  Optional[Entrepot::Method]                 $method      = undef,
  Optional[Hash[String[1], Data]]            $arguments   = undef,
  Optional[Hash[String[1], String[1]]]       $result      = undef,
  Optional[Entrepot::Domain]                 $guard       = undef,
  Optional[Entrepot::Path]                   $relay       = undef,
  Optional[Array[Entrepot::Method, 1]]       $methods     = undef,
  Optional[Entrepot::Headers]                $headers     = undef,
  Optional[Entrepot::Body]                   $body        = undef,
) {
  entrepot::object { "endpoint ${name}":
    section => 'endpoints',
    object  => $name,
    keys    => {
      'path'        => $path,
      'aliases'     => $aliases,
      'upstream'    => $upstream,
      'scopes'      => $scopes,
      'write'       => $write,
      'patience'    => $patience,
      'order'       => $order,
      'idempotency' => $idempotency,
      'retry'       => $retry,
      'rate'        => $rate,
      'cache'       => $cache,
      'max_body'    => $max_body,
      'context'     => $context,
      'summary'     => $summary,
      'description' => $description,
      'model'       => $model,
      'fields'      => $fields,
      'operations'  => $operations,
      'where'       => $where,
      'set'         => $set,
      'key'         => $key,
      'search'      => $search,
      'sort'        => $sort,
      'page'        => $page,
      'call'        => $call,
      'method'      => $method,
      'arguments'   => $arguments,
      'result'      => $result,
      'guard'       => $guard,
      'relay'       => $relay,
      'methods'     => $methods,
      'headers'     => $headers,
      'body'        => $body,
    },
  }
}
