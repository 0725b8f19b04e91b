# @summary Rates and quotas that many clients have. Each uses up its own.
#
# @param rate
#   The limit of each client that has the plan, unless it says another.
# @param quota
#   How much each of them may ask for in a day.
define entrepot::plan (
  Optional[Entrepot::Rate]  $rate  = undef,
  Optional[Entrepot::Quota] $quota = undef,
) {
  entrepot::object { "plan ${name}":
    section => 'plans',
    object  => $name,
    keys    => {
      'rate'  => $rate,
      'quota' => $quota,
    },
  }
}
