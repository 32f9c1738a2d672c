//! `lake_cut`.

crate::event! {
    /// What is final of the stream and in no file yet goes into files now. Written by the clock, so that
    /// a stream with little news is published, too, and in the log, so that which rows a file holds is a
    /// function of the log.
    pub struct LakeCut: version 1, Operator {}
    example: Self {}
}
