{#-
  The version of each line's member that was valid when the order was placed, as two CTEs: `<alias>` has the line's id and the key.

  A sale before the first version takes the first; a sale in a gap, after a delete, the last one before it.
-#}
{% macro as_of(alias, lines, dimension, key, id) -%}
{{ alias }}_valid as (
    select l.order_detail_id, v.{{ key }}
    from {{ lines }} as l
    inner join {{ ref(dimension) }} as v
        on l.{{ id }} = v.{{ id }} and l.ordered_at >= v.valid_from_at and l.ordered_at < v.valid_to_at
    where v.valid_to_at > (select min(ordered_at) from {{ lines }})
),

{{ alias }} as (
    select order_detail_id, {{ key }}
    from {{ alias }}_valid
    union all
    (
        select l.order_detail_id, v.{{ key }}
        from {{ lines }} as l
        left join {{ alias }}_valid as found on l.order_detail_id = found.order_detail_id
        inner join {{ ref(dimension) }} as v on l.{{ id }} = v.{{ id }}
        where found.order_detail_id is null
        qualify row_number() over (
            partition by l.order_detail_id
            order by
                v.valid_from_at > l.ordered_at,
                if(v.valid_from_at <= l.ordered_at, v.valid_from_at, null) desc,
                if(v.valid_from_at <= l.ordered_at, v.valid_to_at, null) desc,
                v.valid_from_at,
                v.valid_to_at
        ) = 1
    )
)
{%- endmacro %}
