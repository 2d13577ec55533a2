-- One row a day whose sums may have changed: the days that restated lines were and are counted on; all when the first partition is
-- another, and all from a day on when a view, or the fact, is made anew.
{{ config(materialized='table', tags=['control']) }}

with days as (
    select l.ordered_on as sales_date
    from {{ ref('sales_lines') }} as l
    where l.order_detail_id in (select order_detail_id from {{ ref('restated_lines') }})
    union distinct
    select old_day as sales_date
    from {{ ref('changed_lines') }}
    where old_day is not null
    union distinct
    select l.ordered_on as sales_date
    from {{ ref('sales_lines') }} as l
    inner join {{ ref('changed_files') }} as f on f.table_name = '(first partition)'
    union distinct
    select l.ordered_on as sales_date
    from {{ ref('sales_lines') }} as l
    inner join (
        select min(partition_date) as from_date
        from {{ ref('changed_files') }}
        where starts_with(table_name, '(rebuild) ') and not starts_with(table_name, '(rebuild) dim_')
    ) as rebuilt on l.ordered_on >= rebuilt.from_date
)

select sales_date
from days
