//! Functions of SQL: those of the query engine that are safe, and a few for hashes and exact numbers.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray as _, BinaryArray, StringBuilder},
    compute::{cast, kernels::length::length},
    datatypes::DataType,
};
use cairn_domain::Amount;
use datafusion::{
    common::{exec_datafusion_err, plan_err},
    error::Result,
    execution::SessionStateDefaults,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use ruint::aliases::U256;

use super::truncate::TruncateRuns;

/// Functions that make as many bytes as a number tells them, which no limit of memory sees.
const UNBOUNDED: &[&str] = &[
    "array_repeat",
    "array_resize",
    "generate_series",
    "lpad",
    "range",
    "repeat",
    "rpad",
];

/// All functions of one row.
pub(super) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    let own = [
        ScalarUDF::from(OctetLength(Signature::any(1, Volatility::Immutable))),
        ScalarUDF::from(TruncateRuns::new()),
    ];
    let is_own = |name: &str| own.iter().any(|function| function.name() == name);
    functions.retain(|function| !UNBOUNDED.contains(&function.name()) && !is_own(function.name()));
    functions.extend(own.into_iter().map(Arc::new));
    for text_of in [TextOf::Number, TextOf::Hex] {
        functions.push(Arc::new(ScalarUDF::from(BytesToText {
            text_of,
            signature: Signature::any(1, Volatility::Immutable),
        })));
    }
    functions
}

/// `octet_length(bytes or text)`; the engine has it for texts alone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OctetLength(Signature);

impl ScalarUDFImpl for OctetLength {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "octet_length"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let is_long = matches!(types, [DataType::LargeUtf8 | DataType::LargeBinary]);
        Ok(if is_long {
            DataType::Int64
        } else {
            DataType::Int32
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(length(&values[0])?))
    }
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TextOf {
    /// An exact number, in decimal.
    Number,
    /// Hex digits behind `0x`.
    Hex,
}

/// `u256_to_text(word)` and `hex(bytes)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BytesToText {
    text_of: TextOf,
    signature: Signature,
}

impl ScalarUDFImpl for BytesToText {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        match self.text_of {
            TextOf::Number => "u256_to_text",
            TextOf::Hex => "hex",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [
                DataType::FixedSizeBinary(_)
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::Null,
            ] => Ok(DataType::Utf8),
            _ => plan_err!(
                "{} takes bytes, such as a column `amount_u256`",
                self.name()
            ),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let bytes = cast(&arrays[0], &DataType::Binary)?;
        let text = self.text_of.write(bytes.as_binary())?;
        Ok(ColumnarValue::Array(text))
    }
}

impl TextOf {
    fn write(self, values: &BinaryArray) -> Result<ArrayRef> {
        let mut text = StringBuilder::with_capacity(values.len(), values.len() * 40);
        for value in values {
            match (self, value) {
                (_, None) => text.append_null(),
                (Self::Hex, Some(bytes)) => text.append_value(const_hex::encode_prefixed(bytes)),
                (Self::Number, Some(bytes)) => text.append_value(decimal(bytes)?),
            }
        }
        Ok(Arc::new(text.finish()))
    }
}

fn decimal(bytes: &[u8]) -> Result<String> {
    let number = U256::try_from_be_slice(bytes).ok_or_else(|| {
        exec_datafusion_err!("u256_to_text takes 32 bytes at most, not {}", bytes.len())
    })?;
    Ok(Amount(number).to_string())
}
