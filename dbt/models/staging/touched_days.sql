-- One row a day whose sums may have changed: the days that restated lines were and are counted on; all when the first partition is another.
{{ config(materialized='table') }}

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
)

select sales_date
from days
