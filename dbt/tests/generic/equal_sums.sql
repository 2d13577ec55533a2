{#- Sums that differ from those of another model; `sums` maps this model's columns to the other's. Returns both where they differ. -#}
{% test equal_sums(model, compare_model, sums) %}
with here as (
    select {% for column in sums %}sum({{ column }}) as {{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ model }}
),

there as (
    select {% for column, other in sums.items() %}sum({{ other }}) as {{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ compare_model }}
)

select
    {% for column in sums %}here.{{ column }}, there.{{ column }} as expected_{{ column }}{{ ', ' if not loop.last }}{% endfor %}
from here
cross join there
where {% for column in sums %}here.{{ column }} is distinct from there.{{ column }}{{ ' or ' if not loop.last }}{% endfor %}
{% endtest %}
