//! What a DMA address means: I/O page tables, the pin ledger and the type1 domain.
