"""Every error of the package: one class is one SQLSTATE.

Messages follow PostgreSQL's conventions: lower case, no full stop, what was expected and what was found. A hint is a sentence the
reader can act on. Client code decides by ``sqlstate``, never by text.
"""

from __future__ import annotations


class PgembedError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what is wrong, with expected and actual values.
        hint: what the reader can do about it.
        detail: more facts, where the message would grow too long.
    """

    sqlstate = "XX000"  # internal_error

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class StatementRefused(PgembedError):
    """PostgreSQL refused a statement that was only prepared; the SQLSTATE is PostgreSQL's own."""

    def __init__(self, message: str, *, sqlstate: str, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.sqlstate = sqlstate


class InvalidParameter(PgembedError):
    """An argument's value is outside of what it may be."""

    sqlstate = "22023"  # invalid_parameter_value


class NullNotAllowed(PgembedError):
    """NULL was given where a value is needed."""

    sqlstate = "22004"  # null_value_not_allowed


class DimensionMismatch(PgembedError):
    """Two vectors, or a vector and its column or model, do not fit each other, or a number is not finite."""

    sqlstate = "22000"  # data_exception


class DatatypeMismatch(PgembedError):
    """An expression or a column has another type than the one needed."""

    sqlstate = "42804"  # datatype_mismatch


class UnknownObject(PgembedError):
    """A model, an embedded column or a linker of that name does not exist."""

    sqlstate = "42704"  # undefined_object


class DuplicateObject(PgembedError):
    """Something of that name exists already."""

    sqlstate = "42710"  # duplicate_object


class DependentObjects(PgembedError):
    """Something cannot be dropped while others need it; the detail lists them."""

    sqlstate = "2BP01"  # dependent_objects_still_exist


class UnknownColumn(PgembedError):
    """A table has no column of that name."""

    sqlstate = "42703"  # undefined_column


class AmbiguousColumn(PgembedError):
    """A table has several embedded columns and the call names none."""

    sqlstate = "42702"  # ambiguous_column


class UnknownTable(PgembedError):
    """A table does not exist (any more)."""

    sqlstate = "42P01"  # undefined_table


class WrongObjectType(PgembedError):
    """The object is of another kind than the call needs, such as a scalar where a table's row type belongs."""

    sqlstate = "42809"  # wrong_object_type


class InvalidTableDefinition(PgembedError):
    """The table lacks something that the call needs, such as a primary key."""

    sqlstate = "42P16"  # invalid_table_definition


class InsufficientPrivilege(PgembedError):
    """The caller may not do this."""

    sqlstate = "42501"  # insufficient_privilege


class NotReady(PgembedError):
    """The object, or the installation, is not in a state that allows the call."""

    sqlstate = "55000"  # object_not_in_prerequisite_state


class Overtaken(PgembedError):
    """Something has changed since the transaction began, and it goes on only if it is begun anew."""

    sqlstate = "40001"  # serialization_failure


class TableBusy(PgembedError):
    """Somebody has used the table all the time that the call wanted it for itself."""

    sqlstate = "55P03"  # lock_not_available


class NotSupported(PgembedError):
    """The call is understood but not provided."""

    sqlstate = "0A000"  # feature_not_supported


class NoDataFound(PgembedError):
    """No row has the key that was given."""

    sqlstate = "P0002"  # no_data_found


class LimitExceeded(PgembedError):
    """A limit of PostgreSQL, of pgvector or of a model is exceeded."""

    sqlstate = "54000"  # program_limit_exceeded


class FileMissing(PgembedError):
    """A file of the installation is missing."""

    sqlstate = "58P01"  # undefined_file


class FileDamaged(PgembedError):
    """A file of the installation is not the one its checksum names."""

    sqlstate = "F0000"  # config_file_error


class RemoteUnavailable(PgembedError):
    """An endpoint can't be reached, or has no answer for now; the same call may succeed later.

    Not of class 08: connection pools take that for a fault of their own connection to PostgreSQL, and close it.
    """

    sqlstate = "58000"  # system_error: external to PostgreSQL itself


class RemoteRefused(PgembedError):
    """An endpoint answers, and not with what was asked for; somebody has to change the model's registration or the endpoint."""

    sqlstate = "38000"  # external_routine_exception


class TextsRefused(InvalidParameter):
    """A model took other texts and not these. Its SQLSTATE says, as its base's, that the value is at fault.

    Args:
        positions: of the texts in the call, from 0, in order.
        reason: why, of the first of them, without what is only true of this call.
    """

    def __init__(
        self, message: str, *, positions: tuple[int, ...], reason: str, hint: str | None = None, detail: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.positions = positions
        self.reason = reason
