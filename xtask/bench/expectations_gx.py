"""The ten expectations of the case `expectations` by Great Expectations over the Parquet file given; fails if one is broken."""

import os
import sys

os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas

context = gx.get_context(mode="ephemeral")
batch = context.data_sources.add_pandas("bench").add_dataframe_asset("table").add_batch_definition_whole_dataframe("all")
suite = context.suites.add(
    gx.ExpectationSuite(
        name="ten",
        expectations=[
            gxe.ExpectTableRowCountToBeBetween(min_value=1000),
            gxe.ExpectColumnValuesToNotBeNull(column="id"),
            gxe.ExpectColumnValuesToBeUnique(column="id"),
            gxe.ExpectColumnValuesToBeBetween(column="few_0", min_value=0, max_value=49),
            gxe.ExpectColumnValuesToBeBetween(column="real_1", min_value=0, max_value=2.1),
            gxe.ExpectColumnValuesToMatchRegex(column="kind_0", regex="^kind [0-9]+$"),
            gxe.ExpectColumnValuesToMatchRegex(column="name_0", regex="^[0-9A-F]+$"),
            gxe.ExpectColumnMeanToBeBetween(column="real_2", min_value=1, max_value=2),
            gxe.ExpectColumnMedianToBeBetween(column="many_0", min_value=400_000_000, max_value=600_000_000),
            gxe.ExpectColumnValueLengthsToBeBetween(column="name_1", max_value=16),
        ],
    )
)
validation = context.validation_definitions.add(gx.ValidationDefinition(name="all", data=batch, suite=suite))
result = validation.run(batch_parameters={"dataframe": pandas.read_parquet(sys.argv[1])})
sys.exit(0 if result.success else 1)
