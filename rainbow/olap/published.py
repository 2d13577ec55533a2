"""What is published from the warehouse to ClickHouse: the batch views and the dimensions, by name."""

VIEWS = (
    "total_sales",
    "day_of_week_with_most_sales",
    "top_sellers",
    "top_products_by_category",
    "payment_methods",
    "customer_ranking",
    "customer_order_total",
)
DIMENSIONS = ("dim_products", "dim_customers", "dim_sellers", "dim_promotions", "dim_payments")
# the sums that each view but the days of the week has
SUMS = ("sales_quantity", "total_sales_amount", "total_discount_amount", "net_sales_amount")
# the views that have no day
OVER_ALL_DAYS = ("customer_order_total",)
